"""`python -m launchdeck` is `launchdeck`."""

import sys

from launchdeck.cli import main

sys.exit(main())
