"""The field's words, for a reader who has not read the paper."""

GLOSSARY = (
    (
        "Backdoor",
        "A hidden rule in a model: images that carry the attacker's trigger get the attacker's "
        "class.",
    ),
    (
        "CDA, clean data accuracy",
        "Share of ordinary images that the model gets right. Higher is better.",
    ),
    (
        "ASR, attack success rate",
        "Share of triggered images, of all classes but the attacker's, that the model gives the "
        "attacker's class. "
        "Lower is better for the defender. A clean model has about the rate of its ordinary "
        "mistakes.",
    ),
    (
        "η (eta)",
        "The ASR that a defense leaves. At most 5 % of each of at least two kinds of trigger "
        "counts as repaired.",
    ),
    (
        "Kind of trigger",
        "What the planted backdoors answer to: a patch, a faint picture (adaptive, blend), a warp, "
        "a mark in a corner. What removes one kind may leave another whole.",
    ),
    (
        "Δ (delta)",
        "The largest loss of CDA that is accepted, in percentage points from the CDA before the "
        "defense.",
    ),
    ("r", "Trusted images that the defender has, as a share of the training images."),
    ("m", "Training images that the attacker poisoned."),
    (
        "Reconstructed trigger",
        "The mark and the mask that turn images of all classes into one class, found by descent on "
        "the given model. Where one class's mask is at most half as large as the classes' "
        "median, or a faint smooth picture or a warp turns most images into one class and few into "
        "the next, that class is suspect: what a repair leaves of its trigger counts.",
    ),
    (
        "Self-poisoned copy",
        "A copy of the model into which the defender plants a backdoor of their own. Its trigger "
        "is known, so the ASR "
        "of a defense can be measured without knowing the real trigger.",
    ),
    (
        "Select, report, test",
        "Three kinds of images that no defense is fitted on. Settings and step are chosen on "
        "select images; report "
        "images measure the choice once more; test images belong to the judge of the real attack "
        "and choose nothing.",
    ),
    (
        "Rule",
        "How the point of a run that counts was chosen. 'worst_kind_within_delta': lowest ASR of "
        "the kind of trigger of which most is left, while the CDA loss stays within Δ; "
        "'reconstructed_within_delta' takes the reconstructed trigger where its class is suspect, "
        "'worst_trigger_within_delta' the worse of that and the worst kind; by these two, what "
        "unlearns triggers that it inverts is taken only where nothing else helps. "
        "'mean_within_delta' is the mean over the kinds, 'min_asr_within_delta' the mean over "
        "the copies. 'last_before_delta': last point before the visible CDA falls by more than Δ. "
        "'last': the final "
        "step. 'oracle': lowest ASR within Δ, but with the real trigger and the test images, which "
        "no defender has.",
    ),
    (
        "Too costly",
        "Settings that cost the given model more than Δ at every step. They were not run on the "
        "copies.",
    ),
    ("Front", "The points of a defense that no other point of it beats in both ASR and CDA."),
    (
        "95 % interval",
        "Wilson's interval for the distinct images measured; images seen by several copies count "
        "once. It says how "
        "much the number could move with other images, not with another attack.",
    ),
    ("sd", "Standard deviation over copies and seeds, in percentage points."),
    (
        "Control",
        "A simple measure that any defense has to beat: none, refreshed BatchNorm statistics, "
        "fine-tuning.",
    ),
)
