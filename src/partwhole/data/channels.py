"""Channel means and standard deviations to normalise images by: the published ones of the named sets."""

Triple = tuple[float, float, float]
Statistics = tuple[Triple, Triple]

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# CIFAR-10: the deviations are those that the published recipes use, means over images of each image's own
# deviation; over all pixels they are 0.247, 0.243, 0.262. Scenes: channel_statistics of the train sets.
NORMALISATION: dict[str, Statistics] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "scenes/plain": ((0.442, 0.517, 0.369), (0.185, 0.178, 0.177)),
    "scenes/nuisance": ((0.429, 0.459, 0.437), (0.233, 0.172, 0.236)),
}
