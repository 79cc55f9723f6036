"""Where files with data are kept: in .build, or where the environment says that the servers under test can read them."""

import os
from pathlib import Path

DATA = Path(os.environ.get("OROCHI_DATA_DIR") or Path(__file__).parents[1] / ".build" / "data")
