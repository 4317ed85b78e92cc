"""Mean and standard deviation of each colour channel, by the name that models and attacks give
them.
"""

Constants = tuple[tuple[float, float, float], tuple[float, float, float]]
CONSTANTS: dict[str, Constants] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
