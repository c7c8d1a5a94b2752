"""Who decides on this machine."""

import getpass
from collections.abc import Callable


def person(login: Callable[[], str] = getpass.getuser) -> str:
    """Who sits at this machine, as the system knows them."""
    try:
        return login()
    except (KeyError, OSError):  # a user whom the system has no name for, as in a container
        return "a user without a name"
