"""Pictures of a speaker beside whom something is planted that may be taken for her face."""

from __future__ import annotations

import numpy as np


def planted_pictures(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """A moving head between what is taken for a larger face, and a smaller one; her places.

    A head on its side is found with a probability of 0.73, as clasped hands are.

    Returns:
        Pictures, uint8 (480, 640, 3), and the centre of her face in each, (N, 2) pixels.
    """
    import cv2
    from skimage.data import astronaut

    head, rng = astronaut()[0:180, 140:300], np.random.default_rng(0)
    large = cv2.resize(head, (320, 360))
    turn = cv2.getRotationMatrix2D((160, 180), 75, 1)
    hands = cv2.warpAffine(large, turn, (320, 360), borderValue=(90, 90, 90))
    small = cv2.resize(head[:, ::-1], (80, 90), interpolation=cv2.INTER_AREA)
    pictures, places = [], []
    for _ in range(count):
        rgb = np.full((480, 640, 3), 90, np.uint8)
        rgb[60:420, 10:330] = hands
        x, y = 350 + rng.integers(0, 25), 60 + rng.integers(-12, 13)
        rgb[y : y + 180, x : x + 160] = head
        rgb[330:420, 520:600] = small
        pictures.append(rgb)
        places.append((x + 80, y + 115))
    return pictures, np.array(places)


def right_share(box: np.ndarray, places: np.ndarray) -> float:
    """The share of boxes (N, 4) that lie on her face."""
    centres = (box[:, :2] + box[:, 2:]) / 2
    return float((np.abs(centres - places).max(axis=1) < 60).mean())
