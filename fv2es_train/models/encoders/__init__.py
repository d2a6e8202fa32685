"""One encoder per modality, and the sequence encoder they share.

Owns nothing itself: see `face`, `mel`, `text` and `sequence`. Leaves putting them together to
`fv2es_train.models.fv2es`.
"""
