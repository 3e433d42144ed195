"""A module that takes 0.2 s to import."""

import time

time.sleep(0.2)
VALUE = 7
