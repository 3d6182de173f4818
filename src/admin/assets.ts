/** The one file that embeds pages: they become part of the compiled binary. */
import indexHtml from "./page.html" with { type: "text" };

/** Files by their name. */
export const assets: { readonly indexHtml: string } = {
  // Bun's types take every .html for a bundle; imported like this it is text on both runtimes.
  indexHtml: indexHtml as unknown as string,
};
