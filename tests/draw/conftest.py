"""The toy layers of the analysis tests serve here too, and the ruler that drawings are measured with."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "analysis"))
sys.path.append(str(Path(__file__).parent))
