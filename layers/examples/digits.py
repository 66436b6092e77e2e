"""64 pixels -> Dense(200, relu) -> Dense(10, softmax)"""
from .. import Dense, Model
from ..dialects import slugnet
from . import Example, falling, flat

OPTIMIZER = falling("RMSProp", rate=0.01, tenth=225)


def in_layers(seed: int) -> Model:
    return Model([Dense(200, "relu"), Dense(10, "softmax")], "cce", OPTIMIZER, ["accuracy"], seed)


def in_slugnet(seed: int) -> slugnet.Model:
    net = slugnet.Model(optimizer=OPTIMIZER, loss=slugnet.SoftmaxCategoricalCrossEntropy(), metrics=["loss", "accuracy"], validation_split=0.1, seed=seed)
    net.add_layer(slugnet.Dense(200, inshape=64, activation=slugnet.ReLU()))
    net.add_layer(slugnet.Dense(10, activation=slugnet.Softmax()))
    return net


EXAMPLE = Example(in_layers, in_slugnet, epochs=10, shapes=(flat, flat))

if __name__ == "__main__":
    EXAMPLE.main()
