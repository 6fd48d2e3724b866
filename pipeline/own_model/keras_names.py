"""The names that a serialized model may hold: Keras's layers and objects, and TensorFlow's functions, one by one.

Each is listed in full. A pattern such as "everything of tf.nn" would admit functions that read files.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _words(
    """
    InputLayer Dense Activation Softmax ReLU LeakyReLU PReLU ELU ThresholdedReLU Dropout Flatten Reshape Permute
    RepeatVector Masking Conv1D Conv2D Conv1DTranspose Conv2DTranspose SeparableConv1D SeparableConv2D
    DepthwiseConv1D DepthwiseConv2D MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalAveragePooling1D GlobalAveragePooling2D ZeroPadding1D
    ZeroPadding2D Cropping1D Cropping2D UpSampling1D UpSampling2D BatchNormalization SyncBatchNormalization
    LayerNormalization GroupNormalization UnitNormalization Normalization Rescaling Add Subtract Multiply
    Average Maximum Minimum Concatenate Dot LSTM GRU SimpleRNN LSTMCell GRUCell SimpleRNNCell StackedRNNCells
    RNN Bidirectional TimeDistributed Embedding EinsumDense Attention AdditiveAttention MultiHeadAttention
    ActivityRegularization GaussianNoise GaussianDropout AlphaDropout SpatialDropout1D SpatialDropout2D
    TFOpLambda SlicingOpLambda Functional Sequential Model
    """
)
"""Keras's layers that a file may hold: on floats, and none that reads files."""

OBJECTS = _words(
    """
    Zeros Ones Constant Identity Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling
    GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform L1 L2 L1L2 OrthogonalRegularizer
    MaxNorm MinMaxNorm NonNeg UnitNorm RadialConstraint Policy TensorShape __tuple__ __ellipsis__ __tensor__
    __numpy__
    """
)
"""What else a layer's fields may hold: initializers, regularizers, constraints, plain values."""

FUNCTIONS = _words(
    """
    linear relu relu6 leaky_relu elu selu gelu sigmoid hard_sigmoid tanh softmax log_softmax swish silu softplus
    softsign exponential mish
    """
)
"""Keras's activations."""

OWN = frozenset(
    {
        ("models.activations", "hard_swish"),
        ("models.architectures.dropout", "StatelessDropout"),
        ("models.architectures.turning", "TimeReversed"),
    }
)
"""(module, name) of what Penjing's own networks hold besides."""

REGISTERED = frozenset(f"penjing>{name}" for _, name in OWN)
"""The same, as Keras looks them up among what is registered."""

OPERATIONS = _words(
    """
    __operators__.add __operators__.getitem math.abs math.add math.add_n math.argmax math.argmin math.ceil math.cos
    math.cumsum math.divide math.divide_no_nan math.equal math.erf math.exp math.expm1 math.floor math.floordiv
    math.floormod math.greater math.greater_equal math.less math.less_equal math.log math.log1p math.log_sigmoid
    math.logical_and math.logical_not math.logical_or math.maximum math.minimum math.multiply
    math.multiply_no_nan math.negative math.not_equal math.pow math.reciprocal math.reciprocal_no_nan
    math.reduce_all math.reduce_any math.reduce_euclidean_norm math.reduce_logsumexp math.reduce_max
    math.reduce_mean math.reduce_min math.reduce_prod math.reduce_std math.reduce_sum math.reduce_variance
    math.rint math.round math.rsqrt math.scalar_mul math.sigmoid math.sign math.sin math.softplus math.sqrt
    math.square math.squared_difference math.subtract math.tanh math.truediv nn.avg_pool nn.avg_pool1d
    nn.avg_pool2d nn.bias_add nn.depth_to_space nn.elu nn.gelu nn.l2_normalize nn.leaky_relu
    nn.local_response_normalization nn.log_softmax nn.max_pool nn.max_pool1d nn.max_pool2d nn.relu nn.relu6
    nn.selu nn.sigmoid nn.silu nn.softmax nn.softplus nn.softsign nn.space_to_depth nn.swish nn.tanh linalg.l2_normalize
    linalg.matmul linalg.matrix_transpose linalg.norm broadcast_to cast clip_by_value concat expand_dims gather
    identity image.resize ones_like pad repeat reshape reverse shape slice split squeeze stack strided_slice tile
    transpose unstack where zeros_like
    """
)
"""TensorFlow's functions that a layer of one operation may call: on numbers, without files, whatever the arguments."""

SLICINGS = frozenset({"__operators__.getitem"})
"""The same for a layer that takes a slice."""

_PUBLIC = "layers models initializers regularizers constraints activations mixed_precision"
_INNER = "engine.functional engine.sequential engine.training layers.core.tf_op_layer"

MODULES = frozenset(
    f"{root}{rest}"
    for root in ("keras", "tf_keras")
    for rest in ("", *(f".{name}" for name in _PUBLIC.split()), *(f".src.{name}" for name in _INNER.split()))
)
"""Where Keras says that the above lie."""

FUNCTION_MODULES = frozenset({"builtins", "keras.activations", "tf_keras.activations"})
"""Where it says that activations lie."""

ACTIVATIONS = FUNCTIONS | REGISTERED | _words("Softmax ReLU LeakyReLU PReLU ELU ThresholdedReLU")
"""What an activation may be by its name alone."""

_SHORT = frozenset(name.lower() for name in OBJECTS) | _words("uniform normal zero one")


def is_object(name: str) -> bool:
    """Tells whether a text names an initializer, a regularizer or a constraint, as `he_normal` does HeNormal."""
    return name.replace("_", "").lower() in _SHORT
