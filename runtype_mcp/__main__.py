"""`python -m runtype_mcp`."""

from runtype_mcp.cli import run

if __name__ == "__main__":
    run()
