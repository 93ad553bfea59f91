// Where the axis is wider than the window, the page begins at the present.
{
  const present = document.querySelector(".timeline .present"), scroll = present?.closest(".scroll");
  if (scroll) scroll.scrollLeft += present.getBoundingClientRect().right - scroll.getBoundingClientRect().right + 60;
}
