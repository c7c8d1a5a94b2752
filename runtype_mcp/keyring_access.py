"""The system's keyring, in a process of its own: `python -P keyring_access.py get|set|delete SERVICE NAME`.

A keyring may wait for a person to unlock it, or fail in a library of the system. A process can be ended, and its
failure is an exit code. The secret comes over stdin and leaves over stdout; it is never an argument.
"""

import sys

NOT_INSTALLED, NOT_FOUND, NO_KEYRING = 3, 4, 5
"""Exit codes: this installation lacks the `keyring` extra; no such entry; the system has no keyring."""


def main(action: str, service: str, name: str) -> int:
    """Read, write or delete one entry. A failure of the keyring itself is raised as it is."""
    try:
        import keyring
        from keyring.errors import NoKeyringError, PasswordDeleteError
    except ImportError:
        return NOT_INSTALLED
    backend = keyring.get_keyring()
    if backend.priority < 1:  # what is below keeps nothing, or keeps it in a plain file
        return NO_KEYRING
    try:
        if action == "set":
            backend.set_password(service, name, sys.stdin.read())
            sys.stdout.write(backend.name)
        elif action == "delete":
            backend.delete_password(service, name)
        elif (secret := backend.get_password(service, name)) is not None:
            sys.stdout.write(secret)
        else:
            return NOT_FOUND
    except NoKeyringError:
        return NO_KEYRING
    except PasswordDeleteError:
        return NOT_FOUND
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
