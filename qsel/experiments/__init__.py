"""The paper's experiments: settings, training, records, Table 1 and ablations."""
