"""The command line, a file for each family of commands. stdout is the result, stderr the progress."""
from . import bench as bench
from . import compare as compare
from . import look as look
from . import mutate as mutate
from . import report as report
from . import run as run
from . import start as start
from .group import FAILED as FAILED
from .group import INTERNAL as INTERNAL
from .group import INTERRUPTED as INTERRUPTED
from .group import NOTHING as NOTHING
from .group import OK as OK
from .group import REGRESSION as REGRESSION
from .group import USAGE as USAGE
from .group import main as main
