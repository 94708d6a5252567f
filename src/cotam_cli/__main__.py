"""python -m cotam_cli"""

from cotam_cli.cli import main

if __name__ == "__main__":
    main(prog_name="cotam")
