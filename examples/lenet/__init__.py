"""LeNet-5 and LeNet-300-100 on MNIST: models, training script, trained weights, test digits."""
