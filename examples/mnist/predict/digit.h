// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/error.h"
#include "predict/picture.h"

namespace mnist {

/// Says why a picture shows no digit.
class NoDigit : public kg::Error {
 public:
  using kg::Error::Error;
};

/// Brings the picture of a digit to the form that MNIST's have: 28x28, light on black, the digit scaled to
/// fit a box of 20x20 and moved until its centre of mass is the picture's (Y. LeCun, "The MNIST database of
/// handwritten digits").
///
/// What the ink is follows from contrast: paper is what most of the picture is, with whatever light falls on
/// it; ink is what differs from it in the one colour that differs most, of enough pixels together. A picture
/// that has that form already, 28x28 on black or on white, keeps its pixels.
///
/// Throws NoDigit, saying why, if no part of the picture can be a digit.
GreyImage as_mnist(Picture picture);

/// MNIST's digits are white on black: inverts the image if the mean of its border pixels is at least 128, the
/// mark of a bright background, and returns it as it is otherwise.
GreyImage white_on_black(GreyImage image);

/// Scales the image to the largest size that fits `width` x `height` without distortion, in whole pixels, and
/// puts it in the middle of a black canvas of that size. Shrinking averages, enlarging interpolates, as
/// resized_crop() does; an image that already has the size comes back unchanged. Throws kg::Error if either
/// image is empty or the pixels are not width x height.
GreyImage fit_to(GreyImage image, int width, int height);

}  // namespace mnist
