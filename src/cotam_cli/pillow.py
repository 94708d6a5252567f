"""`import cotam_cli.pillow` teaches Pillow to open and save .ctm files; see `cotam_cli.integrations.pillow`."""

from cotam_cli.integrations.pillow import register

register()
