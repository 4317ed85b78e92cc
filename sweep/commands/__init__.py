"""What commands do beyond running a sweep: cost estimates, ``defend`` on a given model, repairs
with a chosen configuration, reruns of stored trials, and the gallery of attacks.
"""
