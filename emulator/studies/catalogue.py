"""The studies, by name."""

from .cost import STUDY as COST
from .crossover import STUDY as CROSSOVER
from .energy_fit import STUDY as ENERGY_FIT
from .eyeriss_rs import STUDY as EYERISS_RS
from .fig2 import STUDY as FIG2
from .flexnn import STUDY as FLEXNN
from .sdn import STUDY as SDN
from .study import Study
from .table4 import STUDY as TABLE4

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (TABLE4, FIG2, ENERGY_FIT, COST, SDN, FLEXNN, EYERISS_RS, CROSSOVER)
}
