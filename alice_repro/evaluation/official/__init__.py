"""The official packages as engines: `vbench` (with its I2V and Long parts) and `vbench2`, each in an environment of its
own (`make vbench-env`, `make vbench2-env`), run as a subprocess per dimension.

Their command lines need CUDA and leave with 0 when they fail; their Python interface is what `driver` uses. Everything
they drop in silence (files with other suffixes, corrupt ones, NaN) comes back as a reason in the score table.
"""
