"""Defenses that repair a model with few trusted images, and controls, one a file; a defense's name
is its file's name. Each ``repair`` yields (step, model) as it goes. None of them sees a test image
or a trigger.
"""
