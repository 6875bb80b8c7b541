"""Statistics that more than one room of the house needs: arithmetic on numbers, with no torch and no table.

- `findings`: `LEVEL`, the one rule of what is found (`significant`), and `finding`, its outcome and its sentence
- `comparison`: a statistic against random draws of it, and the effect that such a test can detect
- `binomial`: the exact test of a count
- `intervals`: of a proportion (Wilson), of a difference of two (Newcombe), of a median
- `paired`: McNemar's exact test
- `ranks`: Spearman's rank correlation
- `seeds`: differences that are paired by seed, and intervals over seeds
- `resampling`: the bootstrap over images, and over seeds
- `halves`: the standard error of a statistic from random halves of the data
- `multiple`: corrections for many tests at once (Holm, Benjamini and Hochberg)
- `crossed_design`: does an outcome come from the model or from the data?
"""
