"""The same eight tools, built the usual ways. Each script runs as `python SCRIPT.py [PORT]`: stdio, or HTTP on PORT."""
