"""What is valid is made of what other tests have: they must be found, also where this directory is tested alone."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "broadcast"))
