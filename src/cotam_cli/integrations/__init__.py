"""Ways into other people's programs. Each module is thin, stands alone, and is loaded only by who asks for it."""
