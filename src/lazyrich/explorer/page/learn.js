// Six short steps, each of which sets the sliders.

export const LESSONS = [
  {
    title: "1. What lazy means",
    text: "A network is lazy if it fits the data with changes of its weights so small that it stays a linear function of them. It is then a linear model in the features that it started with, and its tangent kernel stays the one of the start, K₀. Here α is large: the solid curves lie on the dashed ones of the linearized network, the weight norm hardly moves, and the test loss ends near that of regression with K₀.",
    settings: { alpha: 1024, learning_rate: 10, n_steps: 10000 },
  },
  {
    title: "2. Why the test loss rises",
    text: "The target is purely quadratic, but the kernel of the start prefers linear functions. So the network first explains the training labels with a linear function, which is wrong everywhere else. In the panel of the three terms this is the power in linear modes: it rises, and the test loss with it, while the train loss already falls. Later the linear power goes again, and the test loss falls.",
    settings: { alpha: 1, epsilon: 0.05, n_train: 80, learning_rate: 4, n_steps: 8000 },
  },
  {
    title: "3. What α does",
    text: "The output scale α sets how far the weights have to go: about 1/α. With a larger α the network is lazier, features change later, and so does the test loss. Keep these curves to compare, then move α up: the delay between the fall of the train loss and that of the test loss grows, from 27 steps at α = 1/4 to 2,200 at α = 8.",
    settings: { alpha: 0.5, n_steps: 6000 },
  },
  {
    title: "4. What ε does",
    text: "ε says how much of the activation is quadratic, and so how well the kernel of the start fits the target. At a small ε the linear part comes first and the quadratic features have to grow. Move ε up and both losses fall sooner, and the delay in steps shrinks. Relative to the time that fitting takes it grows, here as in our other runs, against what the paper says.",
    settings: { epsilon: 0.03, n_steps: 8000 },
  },
  {
    title: "5. How many points are needed",
    text: "With few points per input the network fits and never generalises, with many the two losses fall together. A delay needs the middle: enough points for the right features to generalise, too few for the kernel of the start to do so. Move P/D from 2 to 10: at first the test loss never falls, at 3 it falls fifteen times as late as the train loss, at 10 not twice as late.",
    settings: { n_train: 40, n_steps: 6000 },
  },
  {
    title: "6. When the network learns features",
    text: "The weights' second moment along the target, βᵀMβ/‖β‖², grows when the network learns the direction β, and the alignment of kernel and labels rises above its chance level with it. At a small α this is large and early, at a large α small and late. Compare when it grows with when the test loss falls.",
    settings: { alpha: 0.25, n_steps: 3000 },
  },
];

// `open` shows a lesson; `onOpen` is told its number from one.
export class Learn {
  constructor({ onOpen }) {
    this.onOpen = onOpen;
    this.number = 1;
    document.getElementById("lesson-back").addEventListener("click", () => onOpen(this.number - 1));
    document.getElementById("lesson-next").addEventListener("click", () => onOpen(this.number + 1));
  }

  open(number) {
    this.number = Math.min(LESSONS.length, Math.max(1, number));
    const { title, text } = LESSONS[this.number - 1];
    const heading = document.createElement("h3");
    heading.textContent = title;
    const words = document.createElement("p");
    words.textContent = text;
    document.getElementById("lesson").replaceChildren(heading, words);
    document.getElementById("lesson-back").disabled = this.number === 1;
    document.getElementById("lesson-next").disabled = this.number === LESSONS.length;
  }

  get settings() {
    return LESSONS[this.number - 1].settings;
  }
}
