import { Engine } from "./engine/mmovseg.js";

const [words, mask, out] = ["words", "mask", "out"].map((id) => document.getElementById(id));
const engine = await Engine.load({ model: "models/nano/" });
await engine.setScene(11); // or: await engine.setTiles(opticalFile, sarFile)

const show = async () => {
  const { labels, width, height, classes } = await engine.run(words.value.split(",").map((word) => word.trim()));
  [mask.width, mask.height] = [width, height];
  const picture = new ImageData(width, height);
  labels.forEach((label, i) => {
    const angle = (label / classes.length) * 2 * Math.PI;
    const colour = [0, 2, 4].map((shift) => 128 + 110 * Math.cos(angle + shift));
    picture.data.set([...colour, 255], 4 * i);
  });
  mask.getContext("2d").putImageData(picture, 0, 0);
  out.textContent = classes.map(({ name, share }) => `${name} ${(100 * share).toFixed(1)} %`).join(", ");
};
words.onchange = show;
await show();
