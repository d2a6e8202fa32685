"""The stages between a media file and an example: pictures, faces, sound, words."""
