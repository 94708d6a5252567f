"""python -m cotam_cli"""

from cotam_cli.cli import main

main(prog_name="cotam")
