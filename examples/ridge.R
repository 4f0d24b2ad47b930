# Ridge regression of each target step on the means of its inputs, without Python:
#   Rscript ridge.R PREPARED.h5 predictions.csv
library(rhdf5)

paths <- commandArgs(trailingOnly = TRUE)
inputs <- t(h5read(paths[1], "inputs"))  # R has the axes of HDF5 in reverse order
targets <- t(h5read(paths[1], "targets"))
episodes <- h5read(paths[1], "episodes")
about <- h5readAttributes(paths[1], "targets")  # channels, units, rate_hz

chunk <- nrow(inputs) / nrow(targets)  # input samples of a target step
means <- apply(inputs, 2, function(x) colMeans(matrix(x, nrow = chunk)))
features <- cbind(means, 1)
rows <- Map(seq, episodes$target_start + 1, episodes$target_stop)  # R counts from 1

train <- unlist(rows[episodes$split == "train"])
penalty <- diag(0.1, ncol(features))
weights <- solve(crossprod(features[train, ]) + penalty, crossprod(features[train, ], targets[train, ]))

predicted <- lapply(which(episodes$split != "train"), function(i) {
  values <- features[rows[[i]], ] %*% weights
  colnames(values) <- about$channels
  time <- episodes$start_s[i] + seq_along(rows[[i]]) / about$rate_hz  # ends of steps
  data.frame(episode = episodes$id[i], time = time, values)
})
write.csv(do.call(rbind, predicted), paths[2], row.names = FALSE)
