"""The verbs that all faces share: one grammar, one function a verb, results without a face."""
