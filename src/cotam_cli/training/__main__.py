"""python -m cotam_cli.training"""

import sys

try:
    from cotam_cli.training.commands import main
except ModuleNotFoundError as error:
    sys.exit(f"cotam: the workshop needs {error.name}; pip install 'cotam-cli[torch]'")

main(prog_name="python -m cotam_cli.training")
