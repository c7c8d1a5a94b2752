"""The Runtype client-token API on this machine: same wire, made-up tokens, faults on demand."""
