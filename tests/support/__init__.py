"""What tests share: real indexes, wheels, bundles, images and engines, made from values."""
