from tinynet import Affine, Fragile, LeakyReLU

import gradcheck


@gradcheck.parametrize([
    gradcheck.case(Affine, "n 4", options={"n_in": [4], "n_out": [1, 3]}),
    gradcheck.case(LeakyReLU, "n *", name="leaky"),
    gradcheck.case(lambda: Fragile(2, 2), "n 2", name="fragile"),
])
def test_gradients(check):
    check()


def test_a_chain(gradcheck):
    gradcheck(lambda: Affine(2, 3), "n 2", checks=["adjoint", "linear"])
