"""The studies, by name."""

from .study import Study
from .table4 import STUDY as TABLE4

STUDIES: dict[str, Study] = {study.name: study for study in (TABLE4,)}
