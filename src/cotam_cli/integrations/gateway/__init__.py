"""`cotam gateway`: a proxy that turns the .ctm pictures of a request into PNG, WebP or JPEG for the server behind it.

    pictures   where the APIs keep pictures in a request's JSON, and how to replace one
    pool       worker processes that decode
    limits     what may be in flight at once
    answers    errors in each API's own shape
    proxy      the ASGI application: reads, rewrites, forwards, streams back
    observe    metrics and logs
    server     settings, the socket, uvicorn

Needs the extra `gateway`; `pictures`, `pool` and `limits` need only the core.
"""
