"""Trials: the real commands on inputs, in surroundings and with faults of many kinds.

Every case says what it must end in: a right result, one clear error, or one participant's failure
while the others are done. ``make trials`` runs all of them.
"""
