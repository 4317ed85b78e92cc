"""Data filters that score how suspicious each training image is, one a file; a filter's name is its
file's name. Each ``score(view, rng, /, *, ...)`` is handed a ``DataView`` (``trials.views``): the
rows of the training set that are not trusted, as the attackers left them, the trusted images, ways
to train models, and ``keep``; and returns ``SampleScores``. What is dear, a training or a pass over
all rows, goes through ``keep`` under a name that says all settings that decide it, so that the
other settings cost seconds. The game ``filtering`` removes rows by the scores and judges them.

A filter may declare ``NEEDS`` and ``REJECTS`` (``trials.catalog.signatures``), and have a second
function ``check(view, /, *, ...)`` with the same settings, which raises ``SpecError`` for what
these images cannot bear; it is called before anything is trained.
"""
