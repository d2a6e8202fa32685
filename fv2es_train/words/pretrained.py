"""Load speech models in transformers' format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fv2es_train.predict.recognisers import readable
from fv2es_train.words.aligner import Aligner

_HINT = "pass a directory that transformers' save_pretrained wrote, of Whisper or of a CTC model"


def load_pretrained(name_or_dir: str) -> Aligner:
    """Load a CTC model, e.g. wav2vec 2.0, or a model with a decoder: Whisper.

    Raises:
        WorkError: the model cannot be loaded.
    """
    with readable(name_or_dir, _HINT):
        import transformers as hf

        from fv2es_train.words.ctc_aligner import CtcAligner
        from fv2es_train.words.decoder_aligner import DecoderAligner

        name = Path(name_or_dir).name if Path(name_or_dir).is_dir() else name_or_dir
        kinds: dict[bool, tuple[Any, type[CtcAligner | DecoderAligner]]] = {
            False: (hf.AutoModelForCTC, CtcAligner),
            True: (hf.AutoModelForSpeechSeq2Seq, DecoderAligner),
        }
        config = hf.AutoConfig.from_pretrained(name_or_dir)
        head, aligner = kinds[bool(config.is_encoder_decoder)]
        processor = hf.AutoProcessor.from_pretrained(name_or_dir)
        model = head.from_pretrained(name_or_dir, use_safetensors=True).eval()
        return aligner(name, processor, model)
