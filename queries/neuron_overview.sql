-- title: A neuron in every dataset
-- The distribution of a neuron's activations and its scores against a reference, in every dataset that was recorded. Scores are kept for the model's default reference; for another one see layer_neurons.
-- parameter model: varchar, example colored_mnist - Name of the model.
-- parameter layer: varchar, example linear1 - Name of the layer.
-- parameter neuron: integer, from 0, example 7 - Number of the neuron, from 0.
-- column dataset: name of the dataset
-- column images: images recorded
-- column min: smallest activation
-- column max: largest activation
-- column mean: mean activation
-- column std: population standard deviation
-- column q05: 5 % of the activations are at most this
-- column q25: lower quartile
-- column q50: median
-- column q75: upper quartile
-- column q95: 95 % of the activations are at most this
-- column share_positive: share of the images with a positive activation, 0..1
-- column activation_ratio: largest response divided by the largest in the reference; NULL for the reference itself
-- column response_loss: largest category response in the reference less the largest here
-- column novelty: the response loss where it is positive
-- column spurious: 1 - |Spearman's correlation of the category responses|, 0..1
-- column reason: why spurious is NULL
-- column fewest_images: smallest number of images behind any shared category
select
    s.dataset,
    s.images,
    s.min,
    s.max,
    s.mean,
    s.std,
    s.q05,
    s.q25,
    s.q50,
    s.q75,
    s.q95,
    s.share_positive,
    c.activation_ratio,
    c.response_loss,
    c.novelty,
    c.spurious,
    c.reason,
    c.fewest_images
from neuron_summary as s
left join neuron_score as c
    on c.model = s.model
    and c.layer = s.layer
    and c.neuron = s.neuron
    and c.dataset = s.dataset
where s.model = $model
    and s.layer = $layer
    and s.neuron = $neuron
order by s.dataset
