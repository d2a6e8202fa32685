"""The demo corpus: generated recordings in IEMOCAP's layout, and a small local text model."""

from fv2es_prep.demo.corpus import make_corpus, make_talk
from fv2es_prep.demo.text_model import make_text_model

__all__ = ["make_corpus", "make_talk", "make_text_model"]
