"""Errors that a user can mend: one line that names the file, what is wrong and what to do."""


class Dmri7tError(Exception):
    """Base of all errors whose message is meant for the user as it stands."""


class InputError(Dmri7tError):
    """A data set or a scan cannot be used."""


class NothingToTranslate(InputError):
    """A file is nothing that could be translated; beside a scan that can it is no one's mistake."""


class ModelError(Dmri7tError):
    """A model folder is missing, unreadable or altered."""


class DeviceError(Dmri7tError):
    """The computing device that was asked for is not there."""


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM); like Ctrl-C, it is no mistake of anybody."""
