"""The Runtype client-token API on this machine: the same requests and answers, over made-up tokens."""
