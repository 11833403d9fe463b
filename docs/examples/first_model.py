import lightning as L
import torch

from condgen.callbacks import RunProgress
from condgen.data import MemoryImages, SplitImages
from condgen.metrics import DigitsExtractor, evaluate
from condgen.pictures import grid, to_pil
from condgen.pixels import to_uint8
from condgen.recipes import build

L.seed_everything(0)
model, data, settings = build("data/digits.yaml", "model/dcgan.yaml", options=["--data.batch_size=64"])
trainer = L.Trainer(max_steps=1000, logger=False, enable_checkpointing=False, callbacks=[RunProgress()], **settings)
trainer.fit(model, data)

label = torch.arange(1000) % 10
images = to_uint8(model.sample({"label": label}, seeds=torch.arange(1000)))  # (1000, 1, 8, 8) uint8
to_pil(grid(images[:100], columns=10)).save("digits.png")

samples = MemoryImages(images, label, data.cond_spec["label"]["names"])
result = evaluate(SplitImages(data, "test"), samples, DigitsExtractor(), subset_size=None)
for name, score in result["scores"].items():
    print(f"{name:<16} {score['value']:.3f}")
