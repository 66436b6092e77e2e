"""8 x 8 -> 24 kernels 3 x 3 -> means of 2 x 2 -> 64 kernels 2 x 2 -> means of 2 x 2 -> Dense(10, softmax)"""
from .. import Conv2D, Dense, Flatten, Model, Pool2D, initializer
from ..dialects import slugnet
from . import Example, falling

OPTIMIZER = falling("SGD", rate=0.3, tenth=450, momentum=0.9)
HE = "he_uniform"


def in_layers(seed: int) -> Model:
    return Model([Conv2D(24, 3, act_fn="relu", init=HE), Pool2D(2, 2, mode="average"),          # sides 8 -> 6 -> 3
                  Conv2D(64, 2, act_fn="relu", init=HE), Pool2D(2, 2, mode="average"),          #       3 -> 2 -> 1
                  Flatten(), Dense(10, "softmax")], "cce", OPTIMIZER, ["accuracy"], seed)


def in_slugnet(seed: int) -> slugnet.Model:
    net = slugnet.Model(optimizer=OPTIMIZER, loss=slugnet.SoftmaxCategoricalCrossEntropy(), metrics=["loss", "accuracy"], validation_split=0.1, seed=seed)
    net.add_layer(slugnet.Convolution(24, (3, 3), inshape=(None, 1, 8, 8), init=initializer(HE)))
    net.add_layer(slugnet.MeanPooling((2, 2)))
    net.add_layer(slugnet.Convolution(64, (2, 2), init=initializer(HE)))
    net.add_layer(slugnet.MeanPooling((2, 2)))
    net.add_layer(slugnet.Flatten())
    net.add_layer(slugnet.Dense(10, activation=slugnet.Softmax()))
    return net


EXAMPLE = Example(in_layers, in_slugnet, epochs=20, shapes=(lambda images: images, lambda images: images.transpose(0, 3, 1, 2)))

if __name__ == "__main__":
    EXAMPLE.main()
