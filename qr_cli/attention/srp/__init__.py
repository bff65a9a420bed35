"""Structural re-parameterization: blocks that train as several branches and fold into one."""
