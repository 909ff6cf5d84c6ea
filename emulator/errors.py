"""Which errors are a user's to mend: shown in one sentence, exit code 2."""

from ..models.network import ModelError
from ..noc.network import NetworkError
from .machine import MachineError
from .mapping import MappingError
from .mnf import EngineError

USER_ERRORS = (ModelError, MachineError, MappingError, NetworkError, EngineError)
